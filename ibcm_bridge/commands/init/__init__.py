"""`ibcm-bridge init`: inputs on the command line or the terminal -> a policy that `check` passes.

`questions` has what is asked, `readers` reads one input, `inputs` reads options and the terminal,
`plan` groups site systems into publications, `policy_text` writes the YAML, and `command` checks it
before it writes the file.
"""
