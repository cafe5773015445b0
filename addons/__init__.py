"""What mitmproxy calls: the listener, its layers and its addons; installed as `ibcm_bridge.addons`.

    listener               the proxy mode, and the connection handler that fails closed
    front_door             the first layer: plaintext, ClientHello, routing
    relay                  a tunneled connection
    exchange               a bridged connection: one request after another
    forwarding, passing    its half with site systems, and what goes through meanwhile
    procedure, timers      what layers are written with
    endings                hooks of our own, for how things end
    display                what addons that show traffic get to see
    connections            what is known of each connection and request
    site_system_leg        the TLS connection to a site system
    tls_contexts           OpenSSL contexts and the verify callback
    tls_ending             how a TLS connection ends
    inspection_workers, inspection_worker
                           processes that look into large bodies
    client_authentication, request_authorization, body_inspection,
    site_system_authentication, reply_inspection, audit_trail
                           addons: each turns mitmproxy's objects into values and calls one decision
    ccm_views              an addon for any mitmproxy: messages, readable
    runner                 puts it together and runs it
    tested_mitmproxy       the versions of mitmproxy that all of this may run on

Everything here that decides calls `ibcm_bridge`; what a hook does when it raises is the business
of `listener`, not of the hook.
"""
