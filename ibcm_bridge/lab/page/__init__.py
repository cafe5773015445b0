"""The web page of `ibcm-bridge lab up`, on loopback.

case_view        a case and its result -> JSON for the page
request_preview  a case before it is sent, and its curl lines
tour             the steps of the guided tour
guard            access control
controller       runs the actions of the page one at a time, and publishes events
server           the HTTP server; index.html, page.css and the scripts are beside it
"""
