// Package awstask does the work of Task states that call AWS APIs: functions, nested executions, EMR, SNS, SQS,
// EventBridge, and aws-sdk:* for every operation whose model is shipped. All of it goes through awscall, so whether Mayfly
// answers in process or AWS does over HTTP is not seen here.
//
// It also knows which resources AWS has (Judge): a definition that names another one is refused when it is created. What
// AWS has and Mayfly lacks is accepted, with a sentence for a warning (Lacks); its state fails at once with that sentence.
//
// Invariants: nothing is successful without having happened; a repeated Start under the same request key has the same
// effect as the first, by the receipts of Mayfly's services, and on AWS by names made from the key or by looking for the
// earlier effect; an error that is no API error leaves the outcome open, and the engine asks again.
package awstask
