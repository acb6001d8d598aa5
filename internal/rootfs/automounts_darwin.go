package rootfs

// automounts are those of macOS's /etc/auto_master, before and since the split of the system volume.
var automounts = []string{"/net", "/home", "/Network/Servers", "/System/Volumes/Data/home", "/System/Volumes/Data/Network/Servers"}
