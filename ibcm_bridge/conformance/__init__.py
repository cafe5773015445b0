"""The conformance suite: judges any proxy in front of ConfigMgr's site systems.

1. `serve` runs the lab's simulated site systems where the proxy can reach them, and writes a *kit*:
   the certificates for the proxy and for the clients (`kit`).
2. The proxy is the *subject*. The subject file has its addresses and names (`subject_file`).
3. A check is a function in `checks`. It sends requests through the subject (`subject`), and judges
   the results at the client and at the site systems (`judgement`).
4. `runner` runs the checks. Each record at a site system belongs to one check (`arrivals`): checks
   that mostly wait have a marker in their targets, and run beside the others, which run one after
   the other. `report` has the results as JSON and JUnit.
"""
