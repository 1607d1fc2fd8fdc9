// Package sns serves Amazon SNS: topics and subscriptions of SQS queues, Lambda functions and e-mail addresses.
//
// Topics and subscriptions are rows. Each published message is an entity on the durable loop until every subscriber has it or
// was given up on, so kill -9 loses no delivery; each delivery repeats under the same request key or Message-ID. A subscription
// by e-mail stays pending until the link in its confirmation mail is followed, as on AWS. Mail goes out by SMTP; without a mail
// server it is kept as RFC 5322 files.
//
// FIFO topics, HTTP, SMS and mobile push, and filter policies are refused by name. What SNS signs on AWS (the envelope of a
// notification) is not signed: there is no certificate of Amazon's here.
package sns
