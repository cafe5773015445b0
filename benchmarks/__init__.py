"""Benchmarks of the bridge.

    python -m benchmarks                  the bridge beside other proxies, with the same site system
    python -m benchmarks --quick          beside mitmdump only, shorter and less precise
    python -m benchmarks.page FILE        writes docs/benchmarks.md from the JSON file of a run
    python -m benchmarks.instructions     instructions for a message and a connection
    python -m benchmarks.cost             compares these with the parent commit
    python -m benchmarks.steps            each step of inspecting one message, in process
    python -m benchmarks.slow_payloads    latency while large payloads are inspected
    python -m benchmarks.large_upload     latency during a large upload
    python -m benchmarks.steady           latency at the highest rate that the bridge carries
    python -m benchmarks.shared_state     a message with its binding in PostgreSQL
    python -m benchmarks.crowd            a thousand clients of the lab
    python -m benchmarks.scenes           each scene of the lab, and `lab up`

    __main__      the command line
    comparison    the measurements, in alternating order
    beside        the measurements with other proxies
    goals         the goals, and whether a run reaches them
    bridges       the bridges of a comparison
    proxies       starts, loads and stops the processes
    peers/        the other proxies and their configurations
    child         a process that is started and stopped
    processes     processor time and memory of a process, from /proc
    interpreter   how the interpreter was built
    site_system   the stand-in for the site system, a separate process
    load          the client, a separate process
    open_load     clients with requests at fixed times, a separate process
    uncached      a bridge that reads each binding from PostgreSQL
    report        the table of `--quick`, and the JSON file
    beside_report the tables with other proxies
    measured.json the run that docs/benchmarks.md shows

Run them in a checkout with the project installed. Linux only: they read /proc.
"""
