// Package s3 serves the Amazon S3 API over a disk of its own.
//
// Object bytes are immutable: files with random names, or rows when they are small. A key exists only in the index (rows
// of store.Store), so that "a" and "a/b" are two ordinary keys, and a bucket may hold any key that S3 allows. An object is
// a manifest: its index row lists the blobs that make it up, so completing a multipart upload copies nothing.
//
// A put writes its file, syncs it, renames it into place, syncs the folder, and only then commits the index row: what was
// acknowledged is there after kill -9 and a power cut, and what was not is a file that no row names, removed at the next
// start. A file that is no longer named goes as soon as its last reader has closed it. An fsync that fails ends the server
// (Config.Fatal): after it, nobody can tell what is on the disk.
//
// It does not version objects, archive them, expire them or send notifications: what asks for that is refused by name.
// Bucket configuration that AWS, too, only keeps (policy, CORS, encryption, public access block, ownership, tags) is kept
// and returned. Access is not decided here: the gateway knows who calls, and policies come with a later issue.
package s3
