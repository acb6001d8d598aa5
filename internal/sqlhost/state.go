package sqlhost

// A State is what the scheduler remembers.
type State struct{}

// NewState is an empty state.
func NewState() *State { return &State{} }
