"""The floor for HTTP: libcurl by pycurl alone, of all clients the quickest that we may use.

``python -m bench.kept_client URL REQUESTS CONNECTIONS`` posts the form of a text message so often,
by two processes with as many kept connections each, and prints the seconds that it took.
"""

import itertools
import multiprocessing
import sys
import threading
import time
from urllib.parse import urlencode

import pycurl

PROCESSES = 2


def post(url: str, requests: int, connections: int) -> None:
    """Make so many requests, one after the other on each connection."""
    numbers = itertools.count()

    def run() -> None:
        client = pycurl.Curl()
        client.setopt(pycurl.URL, url)
        client.setopt(pycurl.USERPWD, "AC:token")
        while (number := next(numbers)) < requests:
            form = {"To": f"+43660{number:07}", "From": "+43123456789", "Body": "B"}
            answer: list[bytes] = []
            client.setopt(pycurl.POSTFIELDS, urlencode(form))
            client.setopt(pycurl.WRITEFUNCTION, answer.append)
            client.perform()
            if client.getinfo(pycurl.RESPONSE_CODE) != 201:
                raise RuntimeError(f"The service answered {answer}.")

    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(url: str, requests: int, connections: int) -> None:
    arguments = (url, requests // PROCESSES, connections)
    processes = [multiprocessing.Process(target=post, args=arguments) for _ in range(PROCESSES)]
    started = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(f"seconds {time.perf_counter() - started}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
