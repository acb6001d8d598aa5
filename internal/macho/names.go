package macho

import "fmt"

// CPU types, mach/machine.h.
const (
	cpu64   = 0x01000000
	cpu6432 = 0x02000000
	cpuX86  = 7
	cpuARM  = 12
	cpuPPC  = 18
)

// subtypeFlags are the bits of a subtype that are not part of its name: CPU_SUBTYPE_LIB64 and arm64e's pointer
// authentication version.
const subtypeFlags = 0xff000000

var archNames = map[[2]uint32]string{
	{cpuX86, 3}: "i386", {cpuX86, 4}: "i486", {cpuX86, 0x84}: "i486SX", {cpuX86, 5}: "i586",
	{cpuX86 | cpu64, 3}: "x86_64", {cpuX86 | cpu64, 8}: "x86_64h",
	{cpuARM, 0}: "arm", {cpuARM, 5}: "armv4t", {cpuARM, 6}: "armv6", {cpuARM, 7}: "armv5", {cpuARM, 8}: "xscale",
	{cpuARM, 9}: "armv7", {cpuARM, 10}: "armv7f", {cpuARM, 11}: "armv7s", {cpuARM, 12}: "armv7k", {cpuARM, 13}: "armv8",
	{cpuARM, 14}: "armv6m", {cpuARM, 15}: "armv7m", {cpuARM, 16}: "armv7em",
	{cpuARM | cpu64, 0}: "arm64", {cpuARM | cpu64, 1}: "arm64v8", {cpuARM | cpu64, 2}: "arm64e",
	{cpuARM | cpu6432, 0}: "arm64_32", {cpuARM | cpu6432, 1}: "arm64_32",
}

// archName gives lipo's name for a CPU type and subtype, of PowerPC without the model.
func archName(cpu, subtype uint32) string {
	switch cpu {
	case cpuPPC:
		return "ppc"
	case cpuPPC | cpu64:
		return "ppc64"
	}
	subtype &^= subtypeFlags
	if name, ok := archNames[[2]uint32{cpu, subtype}]; ok {
		return name
	}
	return fmt.Sprintf("cpu-%d-%d", cpu, subtype)
}

var fileTypes = map[uint32]string{
	1: "object", 2: "execute", 3: "fvmlib", 4: "core", 5: "preload", 6: "dylib", 7: "dylinker", 8: "bundle",
	9: "dylib_stub", 10: "dsym", 11: "kext", 12: "fileset",
}

func typeName(t uint32) string {
	if name, ok := fileTypes[t]; ok {
		return name
	}
	return fmt.Sprintf("type-%d", t)
}

// platforms by the numbers of mach-o/loader.h, PLATFORM_MACOS and so on.
var platforms = map[uint32]string{
	1: "macos", 2: "ios", 3: "tvos", 4: "watchos", 5: "bridgeos", 6: "maccatalyst", 7: "iossimulator", 8: "tvossimulator",
	9: "watchossimulator", 10: "driverkit", 11: "visionos", 12: "visionossimulator", 13: "firmware", 14: "sepos",
}

// version writes a packed xxxx.yy.zz version as otool does: the last part only when it is not 0. None is empty.
func version(v uint32) string {
	if v == 0 {
		return ""
	}
	if v&0xff == 0 {
		return fmt.Sprintf("%d.%d", v>>16, v>>8&0xff)
	}
	return fmt.Sprintf("%d.%d.%d", v>>16, v>>8&0xff, v&0xff)
}
