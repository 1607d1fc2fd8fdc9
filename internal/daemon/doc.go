// Package daemon is where all parts meet: it reads the settings, locks the data directory, opens the store, builds the
// services on it, starts the durable loop and answers HTTP.
//
// The order is an invariant. The data directory is locked before anything in it is read; the port is bound before anything
// is started, so that a second server says so and changes nothing; entities are recovered before the first request is
// answered (early ones wait in the backlog). At the end the order is reversed: requests, services, loop, store, lock.
//
// It decides nothing itself: no operation, no state, no protocol.
package daemon
