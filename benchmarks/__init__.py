"""What the bridge costs, measured.

    python -m benchmarks            the bridge and mitmdump in front of the same site system
    python -m benchmarks --quick    the same, shorter and less certain
    python -m benchmarks.steps      each step of inspecting one message, in this process

    __main__      the command, and the order in which things are measured
    comparison    what is measured, in turns
    proxies       the processes, started, loaded and stopped
    processes     what /proc says of a process
    site_system   the stand-in behind both, a process of its own
    load          the client in front of both, a process of its own
    report        the table and the JSON file
    steps         the steps benchmark

To be run in a checkout with the project installed. Linux only: figures are read from /proc.
"""
