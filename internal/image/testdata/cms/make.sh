#!/bin/sh
# Makes a Developer ID signature with OpenSSL, over the CodeDirectory of ../tree/usr/local/bin/direct (x86_64) as any bytes would do.
#
#	sh internal/image/testdata/cms/make.sh
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/ext" <<'EOF'
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[ca]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign
1.2.840.113635.100.6.2.6 = ASN1:NULL
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,codeSigning
1.2.840.113635.100.6.1.13 = critical,ASN1:NULL
EOF
key() { openssl req -new -newkey rsa:2048 -nodes -keyout "$work/$1.key" -out "$work/$1.csr" -subj "$2" 2>/dev/null; }
key root "/C=US/O=Apple Inc./OU=Apple Certification Authority/CN=Test Root CA"
key ca "/C=US/O=Apple Inc./OU=G2/CN=Developer ID Certification Authority"
key leaf "/UID=ABCDE12345/CN=Developer ID Application: Example (ABCDE12345)/OU=ABCDE12345/O=Example/C=US"
openssl x509 -req -in "$work/root.csr" -signkey "$work/root.key" -days 36500 -extfile "$work/ext" -extensions root -out "$work/root.pem" 2>/dev/null
openssl x509 -req -in "$work/ca.csr" -CA "$work/root.pem" -CAkey "$work/root.key" -CAcreateserial -days 36500 \
	-extfile "$work/ext" -extensions ca -out "$work/ca.pem" 2>/dev/null
openssl x509 -req -in "$work/leaf.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 36500 \
	-extfile "$work/ext" -extensions leaf -out "$work/leaf.pem" 2>/dev/null
openssl x509 -in "$work/root.pem" -outform DER -out root.cer
printf 'the bytes of a CodeDirectory' >signed.bin
sign() { # output, then what openssl cms takes
	output=$1
	shift
	openssl cms -sign -binary -in signed.bin -signer "$work/leaf.pem" -inkey "$work/leaf.key" -certfile "$work/ca.pem" -outform DER -out "$output" "$@"
}
sign sha256.cms -md sha256
sign sha1.cms -md sha1 -nosmimecap
sign noattributes.cms -md sha256 -noattr
sign indefinite.cms -md sha384 -stream
sign attached.cms -md sha256 -nodetach
