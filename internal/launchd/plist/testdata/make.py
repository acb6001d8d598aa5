"""Writes the fixtures of this folder and golden.json: what Python's plistlib reads in them, with types spelled out.

python3 make.py         writes everything
python3 make.py check   writes golden.json's content for the fixtures that are there to standard output
"""

import datetime
import json
import pathlib
import plistlib
import struct
import sys

here = pathlib.Path(__file__).parent


def spell(v):
    """Plain JSON, with what JSON lacks as one-key objects."""
    if isinstance(v, bool) or v is None or isinstance(v, str):
        return v
    if isinstance(v, int):
        return {"int": str(v)}
    if isinstance(v, float):
        return {"real": struct.pack(">d", v).hex()}
    if isinstance(v, bytes):
        return {"data": v.hex()}
    if isinstance(v, datetime.datetime):
        return {"date": v.isoformat(timespec="seconds") + "Z"}
    if isinstance(v, plistlib.UID):
        return {"uid": v.data}
    if isinstance(v, list):
        return [spell(x) for x in v]
    return {"dict": {k: spell(x) for k, x in v.items()}}


job = {
    "Label": "com.example.agent",
    "ProgramArguments": ["/usr/local/bin/agent", "", "--name", "Zo\u00eb & <co>", "\U0001f511", 'a"b\'c\\d'],
    "EnvironmentVariables": {"PATH": "/usr/bin:/bin", "EMPTY": ""},
    "KeepAlive": {"SuccessfulExit": False, "PathState": {"/tmp/x": True}},
    "StartCalendarInterval": [{"Hour": 3, "Minute": 0}, {"Weekday": 7}],
    "RunAtLoad": True,
    "Nice": -5,
    "Numbers": [0, 1, 127, 128, 255, 256, 65535, 65536, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -128, -(2**63)],
    "Reals": [0.0, -1.5, 3.141592653589793, 1e300],
    "Date": datetime.datetime(2026, 11, 23, 12, 0, 1),
    "Data": bytes(range(256)),
    "Empty": [{}, [], b"", ""],
    "Long": "x" * 300,
    "Many": list(range(40)),
}

XML = {
    "entities.plist": "<plist version=\"1.0\"><dict><key>a&amp;b</key><string>&lt;&#65;&#x1F511;&gt;&quot;&apos;</string>"
    "<key>c</key><string><![CDATA[<&>]]> t<!-- c --><?x y?>ail</string><key>hex</key><integer>0x1F</integer></dict></plist>",
    "spread.plist": "\ufeff<?xml version='1.0'?>\n<!-- <dict> -->\n<!DOCTYPE plist PUBLIC \"x\" \"y\">\n<plist >\n"
    "<dict >\n\t<key>Label</key>\n\t<!-- c -->\n\t<string>x</string>\n<key>t</key><true />\n<key>e</key><string/><key>l</key><array/></dict >\n</plist>\n",
    "fragment.plist": "<dict><key>Label</key><string>no head</string></dict>",
}


def make():
    for name, form in (("job.xml.plist", plistlib.FMT_XML), ("job.binary.plist", plistlib.FMT_BINARY)):
        (here / name).write_bytes(plistlib.dumps(job, fmt=form, sort_keys=False))
    archive = {"$archiver": "NSKeyedArchiver", "$objects": ["$null", plistlib.UID(300), plistlib.UID(70000)]}
    (here / "uids.plist").write_bytes(plistlib.dumps(archive, fmt=plistlib.FMT_BINARY))
    for name, text in XML.items():
        (here / name).write_text(text, encoding="utf-8")
    text = plistlib.dumps({"Label": "Zo\u00eb"}).decode()
    (here / "utf16le.plist").write_bytes(b"\xff\xfe" + text.replace("UTF-8", "UTF-16").encode("utf-16-le"))
    (here / "utf16be.plist").write_bytes(b"\xfe\xff" + text.replace("UTF-8", "UTF-16").encode("utf-16-be"))
    (here / "latin1.plist").write_bytes(text.replace("UTF-8", "ISO-8859-1").encode("latin-1"))
    (here / "oldstyle.plist").write_text(
        '// an old-style property list\n{ Label = "com.example.old"; /* c */\n  ProgramArguments = ( /bin/sh, "-c", "echo \\"a\\" \\U00e9\\t\\101", );\n'
        "  Data = <0fbd 77 1c2735ae>; Empty = (); Dict = { a.b-c/d = $x_1; \"k k\" = {}; }; }\n", encoding="utf-8")
    (here / "golden.json").write_text(golden())


def golden():
    seen = {}
    for f in sorted(here.glob("*.plist")):
        if f.name != "oldstyle.plist":  # plistlib does not read it
            data = f.read_bytes()
            form = plistlib.FMT_BINARY if data.startswith(b"bplist") else plistlib.FMT_XML
            seen[f.name] = spell(plistlib.loads(data, fmt=form))
    return json.dumps(seen, indent=1, sort_keys=True) + "\n"


if len(sys.argv) > 1:
    sys.stdout.write(golden())
else:
    make()
