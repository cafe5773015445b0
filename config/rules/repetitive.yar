/* Active by default: patterns with repetitions, which are slow on text made of their beginnings.

   They are searched only in a view that has one of these beginnings, and at most MAX_BEGINNINGS of
   them; a view with more is refused. ibcm_bridge/inspection/engines.py has the beginnings and the
   limit. */

rule script_element
{
    meta:
        description = "A script in a web page"
        source = "HTML 4.18.1; Script elements of other schemas have none of these attributes"
    strings:
        $plain = /<(script|SCRIPT)>/
        $typed = /<script\s[^<>]{0,200}(type|language|src)\s{0,8}=/ nocase
    condition:
        any of them
}

rule server_page
{
    meta:
        description = "A page that a web server executes: ASP.NET or PHP"
        source = "learn.microsoft.com/aspnet: directives; the PHP opening tag"
    strings:
        $directive = /<%@\s{0,16}(page|control|master|webservice|webhandler|assembly|import|language)\s/ nocase
        $php = /<\?php\s/ nocase
    condition:
        any of them
}
