/* On by default: programs, archives and scripts, where only the text of a message belongs.

   An inventory names files, products, command lines and registry values, so a name is never enough:
   each pattern is the beginning of a file, or something long that only a program or a script holds.
   No pattern is shorter than six bytes, or chance would find it in megabytes of compressed data.
   Each is looked for as one string: a rule that walks through the matches of a short one can be
   given more of them than the engine keeps. */

rule pe_image
{
    meta:
        description = "A Windows program: MZ, and a PE header where the field at 0x3C says"
        source = "PE format, learn.microsoft.com/windows/win32/debug/pe-format"
    condition:
        uint16(0) == 0x5A4D and uint32(0x3C) < filesize and uint32(uint32(0x3C)) == 0x00004550
}

rule pe_image_inside
{
    meta:
        description = "The PE header of a Windows program, for the machines there are"
        source = "PE format: signature, then Machine (i386, ARM, ARM64, x64), then few sections"
    strings:
        $header = { 50 45 00 00 ( 4C 01 | C0 01 | C4 01 | 64 AA | 64 86 ) ?? 00 }
    condition:
        $header
}

rule pe_image_as_text
{
    meta:
        description = "The beginning of a Windows program in base64 or hexadecimal"
        source = "PE format; the DOS stub that linkers put between the two headers"
    strings:
        // MZ and what linkers write after it: Microsoft's, Borland's, Go's, and .NET's first bytes.
        $base64 = /TV(qQAAMAAAAEAAAA|pQAAIAAAAEAA8A|qQAAMABAAAAAAA|qAAAEAAAAEABAA|oAAAAAAAAAAAAAAAAAAAAA)/
        $hex = /4D5A(90000300000004000000|50000200000004000F00|80000100000004001000)/ nocase
        $stub_base64 = "This program cannot be run in DOS mode" base64
        $stub_hex = "546869732070726f6772616d2063616e6e6f742062652072756e20696e20444f53206d6f6465" nocase
    condition:
        any of them
}

rule elf_image
{
    meta:
        description = "A Linux program: the ELF magic at the beginning"
        source = "System V ABI, ELF header"
    condition:
        uint32(0) == 0x464C457F
}

rule elf_image_as_text
{
    meta:
        description = "The beginning of a Linux program in base64 or hexadecimal"
        source = "System V ABI, ELF header: class, byte order, version, then zeroes"
    strings:
        $base64 = /f0VMRg(EBAQ|IBAQ)[A-Za-z0-9]AAAAAAAAA/
        $hex = /7F454C460[12]0101[0-9A-F]{2}00000000/ nocase
    condition:
        any of them
}

rule mach_o_image
{
    meta:
        description = "A macOS program, thin or universal, or a Java class"
        source = "Mach-O, mach-o/loader.h and mach-o/fat.h"
    condition:
        uint32(0) == 0xFEEDFACE or uint32(0) == 0xFEEDFACF or
        uint32be(0) == 0xFEEDFACE or uint32be(0) == 0xFEEDFACF or uint32be(0) == 0xCAFEBABE
}

rule archive
{
    meta:
        description = "An archive in place of text: zip, cabinet, RAR, 7-Zip, gzip, xz, bzip2. In uploads zip and gzip are opened"
        source = "the formats' own signatures, in the order above"
    condition:
        not opened and (
        uint32be(0) == 0x504B0304 or
        uint32be(0) == 0x4D534346 or
        uint32be(0) == 0x52617221 or
        uint32be(0) == 0x377ABCAF or
        (uint16be(0) == 0x1F8B and uint8(2) == 8) or
        uint32be(0) == 0xFD377A58 or
        (uint16be(0) == 0x425A and uint8(2) == 0x68 and uint32be(4) == 0x31415926))
}

rule ole_document
{
    meta:
        description = "A compound file in place of text: an old Office document, an installer (MSI)"
        source = "MS-CFB 2.2"
    condition:
        uint32be(0) == 0xD0CF11E0 and uint32be(4) == 0xA1B11AE1
}

rule unix_script
{
    meta:
        description = "The first line of a Unix script"
        source = "execve(2): the path of an interpreter after #!"
    strings:
        $interpreter = /#! ?\/(usr\/(local\/)?)?bin\/[a-z]/
    condition:
        $interpreter
}

rule script_element
{
    meta:
        description = "A script of a web page"
        source = "HTML 4.18.1; an element of another schema that is named Script has no such attribute"
    strings:
        $plain = /<(script|SCRIPT)>/
        $typed = /<script\s[^<>]{0,200}(type|language|src)\s{0,8}=/ nocase
    condition:
        any of them
}

rule server_page
{
    meta:
        description = "A page that a web server runs: ASP.NET or PHP"
        source = "learn.microsoft.com/aspnet: directives; the PHP opening tag"
    strings:
        $directive = /<%@\s{0,16}(page|control|master|webservice|webhandler|assembly|import|language)\s/ nocase
        $php = /<\?php\s/ nocase
    condition:
        any of them
}

rule powershell_encoded_command
{
    meta:
        description = "PowerShell that is told what to do in base64"
        source = "learn.microsoft.com/powershell: -EncodedCommand and its short forms, UTF-16LE"
    strings:
        // The name alone, or with other parameters, is in any inventory. 64 characters are 24 of a
        // command. Parameters are spelt out, because "anything in between" takes too long to look for.
        $command = /(powershell|pwsh)(\.exe)?["']?\s{1,4}([\-\/][a-z]{1,20}\s{1,4}([a-z0-9]{1,20}\s{1,4})?){0,6}[\-\/]e(c|nc|ncodedcommand)?\s{1,4}["']?[a-z0-9+\/]{64}/ nocase
    condition:
        $command
}
