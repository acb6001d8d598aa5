package sqlhost

type manager struct{}

func (m *manager) close() error { return nil }
