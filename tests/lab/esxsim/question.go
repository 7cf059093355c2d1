package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// The answers to the moved-or-copied question.
const (
	answerCancel = "0"
	answerMoved  = "1"
	answerCopied = "2"
)

type choice struct{ key, label string }

var movedChoices = []choice{{answerCancel, "Cancel"}, {answerMoved, "I Moved It"}, {answerCopied, "I Copied It"}}

const movedText = "msg.uuid.altered:%s may have been moved or copied. To set up what depends on its identity, the host needs to know which. " +
	"If you are not sure, answer \"I Copied It\"."

var questionsAsked atomic.Int64

// question waits at a VM for its answer, while the task that asked it goes on running.
type question struct {
	info   *types.VirtualMachineQuestionInfo
	answer chan string
	once   sync.Once
}

const lockLostText = "msg.hbacommon.locklost:The lock protecting the files of %s has been lost, possibly due to underlying storage issues. " +
	"If this virtual machine is configured to be highly available, ensure that it runs on some other host before you click OK."

// newQuestion is a question whose message id stands before the colon of its text.
func newQuestion(text string, choices []choice, preset int32) *question {
	id, rest, _ := strings.Cut(text, ":")
	info := &types.VirtualMachineQuestionInfo{
		Id: fmt.Sprintf("_vmx%d", questionsAsked.Add(1)), Text: text, Choice: types.ChoiceOption{DefaultIndex: preset},
		Message: []types.VirtualMachineMessage{{Id: id, Text: rest}},
	}
	for _, c := range choices {
		info.Choice.ChoiceInfo = append(info.Choice.ChoiceInfo, &types.ElementDescription{
			Description: types.Description{Label: c.label, Summary: c.label}, Key: c.key,
		})
	}
	return &question{info: info, answer: make(chan string, 1)}
}

// offers says whether key is one of the question's choices.
func (q *question) offers(key string) bool {
	return slices.ContainsFunc(q.info.Choice.ChoiceInfo, func(c types.BaseElementDescription) bool {
		return c.GetElementDescription().Key == key
	})
}

func (q *question) settle(answer string) {
	q.once.Do(func() { q.answer <- answer })
}

// askMoved puts the moved-or-copied question and waits for its answer; "Cancel" ends the task.
func (m *machine) askMoved(t *taskRun) (string, types.BaseMethodFault) {
	q := newQuestion(fmt.Sprintf(movedText, m.displayName()), movedChoices, 2)
	m.mu.Lock()
	m.question = q
	m.mu.Unlock()
	m.showPower()
	m.host.post("", &types.VmMessageEvent{VmEvent: m.vmEvent("A question waits at %s on %s"), Message: q.info.Text})
	answer := ""
	for answer == "" {
		select {
		case answer = <-q.answer:
		case <-time.After(250 * time.Millisecond):
			if t.cancelled() {
				answer = answerCancel
			}
		}
	}
	m.mu.Lock()
	m.question = nil
	m.mu.Unlock()
	m.showPower()
	if answer == answerCancel {
		return "", &types.GenericVmConfigFault{Reason: "The power-on was cancelled at the question whether the VM was moved or copied"}
	}
	return answer, nil
}

// AnswerVM answers the pending question.
func (m *machine) AnswerVM(_ *simulator.Context, req *types.AnswerVM) soap.HasFault {
	body := new(methods.AnswerVMBody)
	m.mu.Lock()
	q := m.question
	m.mu.Unlock()
	if q == nil || q.info.Id != req.QuestionId {
		body.Fault_ = simulator.Fault("There is no such question", &types.InvalidArgument{InvalidProperty: "questionId"})
		return body
	}
	if !q.offers(req.AnswerChoice) {
		body.Fault_ = simulator.Fault("There is no such choice", &types.InvalidArgument{InvalidProperty: "answerChoice"})
		return body
	}
	q.settle(req.AnswerChoice)
	body.Res = new(types.AnswerVMResponse)
	return body
}

// cancelQuestion answers a pending question that can be cancelled so; false: there was none.
func (m *machine) cancelQuestion() bool {
	m.mu.Lock()
	q := m.question
	m.mu.Unlock()
	if q == nil || len(q.info.Choice.ChoiceInfo) == 1 {
		return false
	}
	q.settle(answerCancel)
	return true
}

// askLockLost keeps a VM whose lock another host took as it is, powered on and unable to write, until somebody says "OK".
func (m *machine) askLockLost(e *execution) {
	e.lapsed.Store(true)
	q := newQuestion(fmt.Sprintf(lockLostText, m.displayName()), []choice{{"0", "OK"}}, 0)
	m.mu.Lock()
	m.question = q
	m.mu.Unlock()
	m.showPower()
	m.host.post("", &types.VmMessageErrorEvent{VmEvent: m.vmEvent("A question waits at %s on %s"), Message: q.info.Text})
	go func() {
		<-q.answer
		m.mu.Lock()
		m.question = nil
		ours := m.exec == e
		if ours {
			m.exec = nil
		}
		m.mu.Unlock()
		if ours { // the machine itself did not go down meanwhile
			m.endWithoutLock(e)
		}
	}()
}
