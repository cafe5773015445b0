"""Other proxies, with configurations that do what the bridge's TLS legs do.

    programs    the proxies, how each is found, and what installs it
    running     starts one with its configuration

Every peer terminates TLS, requires a client certificate, checks it against the same root and
revocation lists, presents a certificate to the site system and verifies it in the same way, and
writes an access log. None reads a message. Each runs one worker process or thread that serves
requests (Apache: threads of one or more processes, by its defaults).

Each listens on several ports, one for each way to keep connections to the site system:

    NEW        a new connection for each request, no TLS session resumed ("pool off")
    RESUMED    a new connection for each request, TLS sessions resumed
    POOLED     connections are kept and shared ("pool on")
    TUNNEL     TCP forwarded as it is
"""
