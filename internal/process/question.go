package process

import "net/netip"

// Question is a flow whose owner is asked for, again until there is an answer. It keeps what the first look showed, so that later ones are not misled
// by what has the same ends by then: ports are used again, and a wrong owner is worse than none.
type Question struct {
	Protocol      uint8 // 6 TCP, 17 UDP
	Local, Remote netip.AddrPort
	Outbound      bool // the local end began it, so that its socket was there from its first packet on

	asked  uint64 // when it was asked first, in the system's unit of start times; 0 before
	socket uint64 // what the system calls the socket that it was seen to have; 0 where it was seen to have none, or sockets have no names
}

// looked notes what a look at the system's sockets showed, and says whether it can be the flow's: there says whether there is a socket with its ends.
func (q *Question) looked(now, socket uint64, there bool) bool {
	switch first := q.asked == 0; {
	case first:
		q.asked = max(now, 1)
	case !there:
		return false
	case q.socket == 0 && q.Outbound && socket != 0: // it had none when it began
		return false
	case q.socket != 0 && q.socket != socket:
		return false
	}
	if there {
		q.socket = socket
	}
	return there
}

// younger says whether a process that started then cannot have begun the flow: it has inherited the socket, or it is another flow's.
func (q *Question) younger(start uint64) bool { return q.Outbound && start > q.asked }
