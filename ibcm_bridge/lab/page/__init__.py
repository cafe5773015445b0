"""The lab's page: what `ibcm-bridge lab up` serves on loopback.

data      a case and how it went -> what the page shows, as JSON
prepared  a case before it is sent, and its curl lines
guard     whom the page answers
show      what is being sent, one thing after another, and who is told of it
server    the addresses; index.html, page.css and the scripts lie here
"""
