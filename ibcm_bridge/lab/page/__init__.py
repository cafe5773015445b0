"""The lab's page: what `ibcm-bridge lab up` serves on loopback.

case_view        a case and how it went -> what the page shows, as JSON
request_preview  a case before it is sent, and its curl lines
guard            whom the page answers
controller       what is being sent, one thing after another, and who is told of it
server           the addresses; index.html, page.css and the scripts lie here
"""
