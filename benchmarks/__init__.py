"""Benchmarks of the bridge.

    python -m benchmarks                  the bridge and mitmdump with the same site system
    python -m benchmarks --quick          the same, shorter and less precise
    python -m benchmarks.steps            each step of inspecting one message, in process
    python -m benchmarks.slow_payloads    latency while large payloads are inspected
    python -m benchmarks.large_upload     latency during a large upload
    python -m benchmarks.crowd            a thousand clients of the lab

    __main__      the command line
    comparison    the measurements, in alternating order
    proxies       starts, loads and stops the processes
    processes     processor time and memory of a process, from /proc
    site_system   the stand-in for the site system, a separate process
    load          the client, a separate process
    report        the table and the JSON file

Run them in a checkout with the project installed. Linux only: they read /proc.
"""
