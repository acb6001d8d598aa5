package rootfs

// automounts differ from host to host on Linux, where /home is where homes are.
var automounts []string
