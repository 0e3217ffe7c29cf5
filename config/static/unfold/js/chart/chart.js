/* In place of Chart.js (200 kB), which no page of ours uses: charts are SVG, drawn by the server. */
