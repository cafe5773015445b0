"""Configurations of other proxies from a policy: nginx, HAProxy, Apache and Envoy.

1. `reading` reads the policy into the values of `model`: for each publication, those that every
   proxy needs.
2. `rules` lists what the bridge enforces. For every rule, each proxy states how it enforces it, or
   why not (`nginx.statements`), so that no rule is forgotten.
3. `targets` has the published paths and queries as one ordered list of patterns for the target as
   sent. What a proxy matches is what it forwards, whatever it decodes.
4. A folder for each proxy writes the configuration (`exported.Export`); `proxies` lists them.
   Several site systems of a role: `nginx.site_systems` and the others.

No export lets the sign-in of one client serve another: a proxy that cannot hold a site-system leg
for one client does not get the directories with Windows authentication.
"""
