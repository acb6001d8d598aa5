"""Writes BackgroundItems.btm, a background task management database as macOS 13 and later archive it, and btm.golden.json, its records
as they were put in. The layout is that of Objective-See's DumpBTM and osquery's startup_items.mm: no Apple data is in it."""

import json
import pathlib
import plistlib

here = pathlib.Path(__file__).parent
UID = plistlib.UID


class Archiver:
    """What NSKeyedArchiver does with the few classes that are needed."""

    def __init__(self):
        self.objects = ["$null"]
        self.classes = {}

    def add(self, value):
        if value is None:
            return UID(0)
        self.objects.append(value)
        return UID(len(self.objects) - 1)

    def cls(self, name):
        if name not in self.classes:
            self.classes[name] = self.add({"$classname": name, "$classes": [name, "NSObject"]})
        return self.classes[name]

    def array(self, refs):
        return self.add({"$class": self.cls("NSArray"), "NS.objects": refs})

    def dictionary(self, pairs):
        return self.add({"$class": self.cls("NSDictionary"), "NS.keys": [k for k, _ in pairs], "NS.objects": [v for _, v in pairs]})

    def url(self, relative, base=None):
        based = self.url(base) if base else UID(0)
        return self.add({"$class": self.cls("NSURL"), "NS.base": based, "NS.relative": self.add(relative)})

    def item(self, r):
        return self.add({
            "$class": self.cls("ItemRecord"),
            "uuid": self.add({"$class": self.cls("NSUUID"), "NS.uuidbytes": bytes(range(16))}),
            "identifier": self.add(r["identifier"]),
            "container": self.add(r.get("container")),
            "name": self.add({"$class": self.cls("NSMutableString"), "NS.string": "Name"}),
            "url": self.url(r["url"], r.get("base")),
            "type": r["type"],
            "disposition": r["disposition"],
            "generation": 1,
        })


ADA = "1CAA5D2B-A526-49E2-9A6F-58CACBDF0AFB"
SYSTEM = "FFFFEEEE-DDDD-CCCC-BBBB-AAAA00000000"
records = {
    ADA: [
        {"identifier": "2.com.example.tray", "url": "file:///Users/ada/My%20Apps/Tray.app/", "type": 2, "disposition": 2},
        {"identifier": "8.tray.agent", "container": "2.com.example.tray", "url": "Contents/Library/LaunchAgents/tray.plist", "type": 8, "disposition": 11},
        {"identifier": "4.tray.login", "url": "Contents/Library/LoginItems/Login.app", "base": "file:///Users/ada/My%20Apps/Tray.app/", "type": 4, "disposition": 11},
        {"identifier": "8.off", "url": "file:///Users/ada/Library/LaunchAgents/off.plist", "type": 0x10008, "disposition": 9},
        {"identifier": "2.com.example.main", "url": "file:///Users/ada/My%20Apps/Main.app/", "type": 2, "disposition": 3},
        {"identifier": "gone", "url": "Contents/x.plist", "type": 8, "disposition": 3},
    ],
    SYSTEM: [
        {"identifier": "16.opt", "url": "file:///opt/daemons/opt.plist", "type": 0x10010, "disposition": 11},
        {"identifier": "16.known", "url": "file:///Library/LaunchDaemons/known.plist", "type": 0x10010, "disposition": 11},
    ],
}
a = Archiver()
users = [(a.add(u), a.array([a.item(r) for r in items])) for u, items in records.items()]
store = a.add({"$class": a.cls("Storage"), "itemsByUserIdentifier": a.dictionary(users), "mdmPayloadsByIdentifier": a.dictionary([])})
top = {"$version": 100000, "$archiver": "NSKeyedArchiver", "$top": {"version": 13, "store": store}, "$objects": a.objects}
(here / "BackgroundItems.btm").write_bytes(plistlib.dumps(top, fmt=plistlib.FMT_BINARY))
flat = [{"user": u, **r} for u, items in records.items() for r in items]
(here / "btm.golden.json").write_text(json.dumps(flat, indent=1) + "\n")
