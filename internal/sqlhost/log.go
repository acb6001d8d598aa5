package sqlhost

import "time"

// calendarTime is how osquery writes a time: asctime's format in UTC.
func calendarTime(t time.Time) string { return t.UTC().Format("Mon Jan _2 15:04:05 2006") + " UTC" }
