package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const tasksKept = 1000 // older ones that are done are forgotten

// taskTable numbers the host's tasks and forgets old ones.
type taskTable struct {
	mu   sync.Mutex
	last int
	done []types.ManagedObjectReference
}

// taskRun is a running task. The simulator's own way to run one would hold its entity's lock until the end:
// a power-on that waits for an answer would be invisible, and could not be answered.
type taskRun struct {
	host *host
	task *simulator.Task
	user string
}

// methodNames are the API methods that the tasks' short names stand for; pyVmomi looks the name up.
var methodNames = map[string]string{
	"powerOn": "PowerOnVM_Task", "powerOff": "PowerOffVM_Task", "suspend": "SuspendVM_Task", "reset": "ResetVM_Task",
	"shutdownGuest": "ShutdownGuest", "rebootGuest": "RebootGuest", "registerVm": "RegisterVM_Task",
	"createVm": "CreateVM_Task", "reconfigure": "ReconfigVM_Task", "copyVirtualDisk": "CopyVirtualDisk_Task", "extendVirtualDisk": "ExtendVirtualDisk_Task",
	"enterMaintenanceMode": "EnterMaintenanceMode_Task", "exitMaintenanceMode": "ExitMaintenanceMode_Task",
	"shutdown": "ShutdownHost_Task", "reboot": "RebootHost_Task",
	"resignatureUnresolvedVmfsVolume": "ResignatureUnresolvedVmfsVolume_Task",
	"searchDatastore":                 "SearchDatastore_Task", "searchDatastoreSubFolders": "SearchDatastoreSubFolders_Task",
}

// startTask starts a task on behalf of the caller and returns its reference.
func (h *host) startTask(
	ctx *simulator.Context, entity types.ManagedObjectReference, name string, work func(*taskRun) (types.AnyType, types.BaseMethodFault),
) types.ManagedObjectReference {
	h.tasks.mu.Lock()
	h.tasks.last++
	number := h.tasks.last
	h.tasks.mu.Unlock()
	user := userOf(ctx)
	now := time.Now()
	task := &simulator.Task{}
	descriptor := entity.Type + "." + name
	task.Self = types.ManagedObjectReference{Type: "Task", Value: fmt.Sprintf("haTask-%s-vim.%s-%d", entity.Value, descriptor, number)}
	task.Info = types.TaskInfo{
		Key: task.Self.Value, Task: task.Self, Name: methodNames[name], DescriptionId: descriptor, Entity: &entity, EntityName: entity.Value,
		State: types.TaskInfoStateRunning, Cancelable: true, Reason: &types.TaskReasonUser{UserName: user},
		QueueTime: now, StartTime: &now, EventChainId: int32(number),
	}
	h.registry.Put(task)
	run := &taskRun{host: h, task: task, user: user}
	go func() { run.end(work(run)) }()
	return task.Self
}

func userOf(ctx *simulator.Context) string {
	if ctx == nil || ctx.Session == nil {
		return ""
	}
	return ctx.Session.UserName
}

func (t *taskRun) end(result types.AnyType, fault types.BaseMethodFault) {
	changes := []types.PropertyChange{{Name: "info.completeTime", Val: time.Now()}}
	if fault == nil {
		if result != nil {
			changes = append(changes, types.PropertyChange{Name: "info.result", Val: result})
		}
		changes = append(changes, types.PropertyChange{Name: "info.progress", Val: int32(100)},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateSuccess})
	} else {
		changes = append(changes,
			types.PropertyChange{Name: "info.error", Val: types.LocalizedMethodFault{Fault: fault, LocalizedMessage: faultText(fault)}},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateError})
	}
	h := t.host
	ctx := h.as(t.user)
	h.registry.WithLock(ctx, t.task, func() {
		if t.task.Info.State == types.TaskInfoStateRunning { // it may have been cancelled
			h.registry.Update(ctx, t.task, changes)
		}
	})
	h.tasks.mu.Lock()
	h.tasks.done = append(h.tasks.done, t.task.Self)
	var old types.ManagedObjectReference
	if len(h.tasks.done) > tasksKept {
		old, h.tasks.done = h.tasks.done[0], h.tasks.done[1:]
	}
	h.tasks.mu.Unlock()
	if old.Value != "" {
		h.registry.Remove(ctx, old)
	}
}

// cancelled says whether a user cancelled the task (CancelTask).
func (t *taskRun) cancelled() bool {
	var state types.TaskInfoState
	t.host.with(t.task, func() { state = t.task.Info.State })
	return state != types.TaskInfoStateRunning
}

// faultText is what a person reads beside a fault.
func faultText(fault types.BaseMethodFault) string {
	switch f := fault.(type) {
	case *types.FileLocked:
		return fmt.Sprintf("Unable to access file %s since it is locked", f.File)
	case *types.FileNotFound:
		return fmt.Sprintf("File %s was not found", f.File)
	case *types.InaccessibleDatastore:
		return fmt.Sprintf("Datastore '%s' is not accessible", f.Name)
	case *types.InvalidDatastorePath:
		return fmt.Sprintf("Invalid datastore path '%s'", f.DatastorePath)
	case *types.AlreadyExists:
		return fmt.Sprintf("The specified key, name, or identifier '%s' already exists", f.Name)
	case *types.InvalidPowerState:
		return fmt.Sprintf("The attempted operation cannot be performed in the current state (%s)", f.ExistingState)
	case *types.InvalidState:
		return "The operation is not allowed in the current state"
	case *types.QuestionPending:
		return "A question waits for an answer: " + f.Text
	case *types.TaskInProgress:
		return "Another task is already in progress"
	case *types.GenericVmConfigFault:
		return f.Reason
	case *types.InsufficientMemoryResourcesFault:
		return fmt.Sprintf("The host does not have sufficient memory: %d MiB requested, %d MiB unreserved", f.Requested>>20, f.Unreserved>>20)
	case *types.ToolsUnavailable:
		return "Cannot complete operation because VMware Tools is not running in this virtual machine"
	case *types.Timedout:
		return "Operation timed out"
	}
	return fmt.Sprintf("%T", fault)
}
