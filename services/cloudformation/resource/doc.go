// Package resource holds the resource types that stacks may have: a small file each, which says what a type's
// properties are and makes, changes and deletes one by calls of the service's own API. The same code works on Mayfly's
// services and on AWS, because it only ever calls through awscall.
//
// A type's schema is closed: a property that is not listed is refused by name. Values are converted to what the API's
// model wants ("true" to true, 4 to "4"), nested members that the model does not have are refused by name too.
//
// Every changing call carries a request key made from the command's, so a command that is carried out twice changes
// nothing twice.
//
// To add a type: a file with a Type in it, listed in types.go; the properties and attributes as the AWS resource
// reference has them; leave out what the service could not honour, so that it is refused and not ignored.
package resource
