"""Configurations of other proxies from a policy: nginx, HAProxy, Apache and Envoy.

1. `model` reads the policy: for each publication what every proxy needs to know, as values.
2. `rules` lists what the bridge enforces. For every rule, each proxy states how it enforces it, or
   why not (`nginx_statements`), so that no rule is forgotten.
3. `targets` has the published paths and queries as one ordered list of patterns for the target as
   sent. What a proxy matches is what it forwards, whatever it decodes.
4. `nginx` and the others write the configuration (`exported.Export`); `proxies` lists them.

No export lets the sign-in of one client serve another: a proxy that cannot hold a site-system leg
for one client does not get the directories with Windows authentication.
"""
