// Package sqs serves Amazon SQS: standard queues, with visibility time-outs, delays, long polling, batches and dead-letter
// queues.
//
// A message is a row until it is deleted: once SendMessage has answered, kill -9 does not lose it. Who has received a message
// and until when it is hidden is kept in memory alone, as a standard queue promises delivery at least once: after a restart
// every message that was not deleted is visible again, and its receive count begins anew.
//
// FIFO queues are refused by name. Policies are kept and returned, not evaluated.
package sqs
