// Package logs serves Amazon CloudWatch Logs: groups, streams, events, retention, and search by words.
//
// Each PutLogEvents call is one row, a chunk of events, so a call costs one commit. Listings read the chunks of a stream in
// order of time. Filter patterns of words are understood ("ERROR", "\"two words\"", "?either ?or", "-without"); JSON and
// space-delimited patterns are refused.
package logs
