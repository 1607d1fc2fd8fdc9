// Package sts serves AWS STS: who is calling, and temporary credentials. The keys that it gives out are known to the
// gateway, which verifies their signatures from then on, until they expire.
package sts
