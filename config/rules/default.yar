/* On by default. The engines look at each view of a body: as sent, inflated, and decoded text. */

rule eicar_test_file
{
    meta:
        description = "The EICAR anti-malware test file"
        source = "https://www.eicar.org/download-anti-malware-testfile/"
    strings:
        // In two halves, so that no file of this project is itself a test file.
        $head = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$"
        $tail = "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
    condition:
        for any i in (1..#head) : ( $tail at @head[i] + 28 )
}
