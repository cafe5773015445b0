/* Active by default: programs, archives and scripts. Messages contain text only.

   An inventory contains file names, products, command lines and registry values, so no rule matches
   a name. Each pattern is the start of a file, or a long string that only a program or a script
   contains. No pattern is shorter than six bytes, except behind MZ: shorter ones match megabytes of
   compressed data by chance. Each pattern is one string: input could have more matches of a shorter part than the
   engine stores.

   A client can fill megabytes with the start of a pattern, and YARA-X then compares the rest at every
   start. For a string that takes about 5 ns per byte of input, for a regular expression 10 to 100.
   Therefore the patterns here are strings, or expressions without repetition. Others are in
   repetitive.yar. tests/inspection/test_slow_texts.py measures every pattern. */

rule pe_image
{
    meta:
        description = "A Windows program: MZ, and a PE header at the offset in the field at 0x3C"
        source = "PE format, learn.microsoft.com/windows/win32/debug/pe-format"
    condition:
        uint16(0) == 0x5A4D and uint32(0x3C) < filesize and uint32(uint32(0x3C)) == 0x00004550
}

rule pe_image_inside
{
    meta:
        description = "The PE header of a Windows program, for the supported machine types"
        source = "PE format: signature, then Machine (i386, ARM, ARM64, x64), then few sections"
    strings:
        $i386 = { 50 45 00 00 4C 01 ?? 00 }
        $arm = { 50 45 00 00 C0 01 ?? 00 }
        $thumb = { 50 45 00 00 C4 01 ?? 00 }
        $arm64 = { 50 45 00 00 64 AA ?? 00 }
        $x64 = { 50 45 00 00 64 86 ?? 00 }
    condition:
        any of them
}

rule pe_image_as_text
{
    meta:
        description = "The start of a Windows program in base64 or hexadecimal"
        source = "PE format; the DOS stub that linkers write between the two headers"
    strings:
        // MZ and the next bytes of Microsoft's, Borland's and Go's linkers, and of .NET.
        $base64_microsoft = "TVqQAAMAAAAEAAAA"
        $base64_borland = "TVpQAAIAAAAEAA8A"
        $base64_go = "TVqQAAMABAAAAAAA"
        $base64_old = "TVqAAAEAAAAEABAA"
        $base64_zeroes = "TVoAAAAAAAAAAAAAAAAAAAAA"
        $hex_microsoft = "4D5A90000300000004000000" nocase
        $hex_borland = "4D5A50000200000004000F00" nocase
        $hex_old = "4D5A80000100000004001000" nocase
        $stub_base64 = "This program cannot be run in DOS mode" base64
        $stub_hex = "546869732070726f6772616d2063616e6e6f742062652072756e20696e20444f53206d6f6465" nocase
    condition:
        any of them
}

rule elf_image
{
    meta:
        description = "A Linux program: the ELF magic at the start"
        source = "System V ABI, ELF header"
    condition:
        uint32(0) == 0x464C457F
}

rule elf_image_as_text
{
    meta:
        description = "The start of a Linux program in base64 or hexadecimal"
        source = "System V ABI, ELF header: class, byte order, version, then zeroes"
    strings:
        // f0VMRgEBAQ?AAAAAAAAA and f0VMRgIBAQ?AAAAAAAAA
        $base64_32 = { 66 30 56 4D 52 67 45 42 41 51 ?? 41 41 41 41 41 41 41 41 41 }
        $base64_64 = { 66 30 56 4D 52 67 49 42 41 51 ?? 41 41 41 41 41 41 41 41 41 }
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
        description = "An archive instead of text, or 7-Zip, RAR or xz behind other data. Zip and gzip in uploads are opened"
        source = "the formats' own signatures: zip, cabinet, gzip, bzip2, Zstandard (RFC 8878), LZ4, old LZ4, skippable frames of both"
    strings:
        // 7-Zip and RAR also open an archive behind a self-extracting program, or any other data.
        $seven_zip = { 37 7A BC AF 27 1C }
        $rar = { 52 61 72 21 1A 07 }
        $xz = { FD 37 7A 58 5A 00 }
        // Too short to search for in all data.
        $zstandard = { 28 B5 2F FD }
        $lz4 = { 04 22 4D 18 }
    condition:
        not opened and (
        uint32be(0) == 0x504B0304 or
        uint32be(0) == 0x4D534346 or
        (uint16be(0) == 0x1F8B and uint8(2) == 8) or
        (uint16be(0) == 0x425A and uint8(2) == 0x68 and uint32be(4) == 0x31415926) or
        uint32be(0) == 0x28B52FFD or
        uint32(0) == 0x184D2204 or
        uint32(0) == 0x184C2102 or
        uint32(0) & 0xFFFFFFF0 == 0x184D2A50 or
        any of ($seven_zip, $rar, $xz) or
        (uint16be(0) == 0x4D5A and any of ($zstandard, $lz4)))
}

rule ole_document
{
    meta:
        description = "A compound file instead of text or behind other data: an old Office document, an installer (MSI)"
        source = "MS-CFB 2.2"
    strings:
        $signature = { D0 CF 11 E0 A1 B1 1A E1 }
    condition:
        (uint32be(0) == 0xD0CF11E0 and uint32be(4) == 0xA1B11AE1) or (not opened and $signature)
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

rule powershell_encoded_command
{
    meta:
        description = "PowerShell with a base64-encoded command"
        source = "learn.microsoft.com/powershell: -EncodedCommand and its short forms, UTF-16LE"
    strings:
        // The bridge finds the command and writes this line before the decoded text (view `command`):
        // an expression for the parameters between the name and the command would be too slow.
        $command = "powershell -EncodedCommand\n"
    condition:
        $command at 0
}
