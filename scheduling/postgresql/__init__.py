"""Django's backend for Postgres, with sessions that notice a server that no longer answers.

To be named as ``ENGINE`` of a database. ``base`` is the module that Django looks for.
"""
