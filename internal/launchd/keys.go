package launchd

import (
	"maps"
	"slices"
)

// kinds are the types that a key may have.
type kinds uint8

const (
	aText kinds = 1 << iota
	aTruth
	aNumber
	aList
	aDict
)

var kindNames = map[kinds]string{
	aText: "a string", aTruth: "a boolean", aNumber: "a number", aList: "an array", aDict: "a dictionary",
}

// keys are all keys of launchd.plist(5) with their types there; others are not looked at.
var keys = map[string]kinds{
	"Label": aText, "Disabled": aTruth, "UserName": aText, "GroupName": aText, "inetdCompatibility": aDict, "LimitLoadToHosts": aList,
	"LimitLoadFromHosts": aList, "LimitLoadToSessionType": aText | aList, "LimitLoadToHardware": aDict, "LimitLoadFromHardware": aDict,
	"Program": aText, "BundleProgram": aText, "ProgramArguments": aList, "EnableGlobbing": aTruth, "EnableTransactions": aTruth,
	"EnablePressuredExit": aTruth, "OnDemand": aTruth, "ServiceIPC": aTruth, "KeepAlive": aTruth | aDict, "RunAtLoad": aTruth,
	"RootDirectory": aText, "WorkingDirectory": aText, "EnvironmentVariables": aDict, "Umask": aNumber | aText, "TimeOut": aNumber,
	"ExitTimeOut": aNumber, "ThrottleInterval": aNumber, "InitGroups": aTruth, "WatchPaths": aList, "QueueDirectories": aList,
	"StartOnMount": aTruth, "StartInterval": aNumber, "StartCalendarInterval": aDict | aList, "StandardInPath": aText,
	"StandardOutPath": aText, "StandardErrorPath": aText, "Debug": aTruth, "WaitForDebugger": aTruth, "SoftResourceLimits": aDict,
	"HardResourceLimits": aDict, "Nice": aNumber, "ProcessType": aText, "AbandonProcessGroup": aTruth, "LowPriorityIO": aTruth,
	"LowPriorityBackgroundIO": aTruth, "LaunchOnlyOnce": aTruth, "MachServices": aDict, "Sockets": aDict, "LaunchEvents": aDict,
	"HopefullyExitsLast": aTruth, "HopefullyExitsFirst": aTruth, "SessionCreate": aTruth, "LegacyTimers": aTruth,
	"AssociatedBundleIdentifiers": aText | aList,
}

// checkTypes notes every key that has another type than launchd wants, which launchd passes over.
func (d *declaration) checkTypes() {
	for _, key := range slices.Sorted(maps.Keys(d.dict)) {
		if want, known := keys[key]; known && kindOf(d.dict[key])&want == 0 {
			d.wrong(key, "not %s", want)
		}
	}
}

// String names the types for an error.
func (k kinds) String() string {
	names := ""
	for kind := aText; kind <= aDict; kind <<= 1 {
		if k&kind == 0 {
			continue
		}
		if names != "" {
			names += " or "
		}
		names += kindNames[kind]
	}
	return names
}

func kindOf(value any) kinds {
	switch value.(type) {
	case string:
		return aText
	case bool:
		return aTruth
	case int64, uint64, float64:
		return aNumber
	case []any:
		return aList
	case map[string]any:
		return aDict
	}
	return 0
}
