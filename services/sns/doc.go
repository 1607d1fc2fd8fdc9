// Package sns serves Amazon SNS: topics and subscriptions of SQS queues, Lambda functions and e-mail addresses.
//
// Topics and subscriptions are rows. Each published message is an entity on the durable loop until every subscriber has it or
// was given up on, so kill -9 loses no delivery; each delivery repeats under the same request key or Message-ID. A subscription
// by e-mail stays pending until the link in its confirmation mail is followed, as on AWS. Mail goes out by SMTP; without a mail
// server it is kept as RFC 5322 files.
//
// Filter policies judge attributes or bodies (filter.go), redrive policies catch what cannot be delivered, and notifications are
// signed with a key of this server's own, whose certificate it serves: there is none of Amazon's here.
//
// FIFO topics, HTTP, SMS and mobile push are refused by name.
package sns
