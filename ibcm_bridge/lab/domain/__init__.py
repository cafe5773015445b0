"""A domain for scenes and tests, with MIT Kerberos in place of Active Directory.

files       its files, and the environment variables by which Kerberos and pyspnego find them
programs    the programs and modules that a domain needs
controller  the KDC of a realm, as a process on loopback
domain      one or more realms, their trusts, and the tickets of users
"""
