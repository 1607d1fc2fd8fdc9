// Package engine runs executions: it puts the pure core of package execution on the durable loop, and looks after what
// the core asks of the world: tasks, task tokens, activities, polls, nested executions. It does the same for map runs and
// package maprun: it reads their items, starts their children, which are executions, and reports how they end.
//
// What it keeps in memory is derived from the executions and made anew at each start: the queues of activities, the
// polls of open handles, the calls under way, the children that are to be reported. Everything else is in the journals.
//
// It knows no AWS API: services/states brings requests and definitions, integration/awstask does the work of tasks.
// Express executions run on a loop of their own, whose store is memory.
package engine
