package main

import (
	"fmt"
	"slices"
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

var movedChoices = []struct{ key, label string }{
	{answerCancel, "Cancel"}, {answerMoved, "I Moved It"}, {answerCopied, "I Copied It"},
}

const movedText = "msg.uuid.altered:%s may have been moved or copied. To set up what depends on its identity, the host needs to know which. " +
	"If you are not sure, answer \"I Copied It\"."

var questionsAsked atomic.Int64

// question waits at a VM for its answer, while the task that asked it goes on running.
type question struct {
	info   *types.VirtualMachineQuestionInfo
	answer chan string
	once   sync.Once
}

func (q *question) settle(answer string) {
	q.once.Do(func() { q.answer <- answer })
}

// askMoved puts the moved-or-copied question and waits for its answer; "Cancel" ends the task.
func (m *machine) askMoved(t *taskRun) (string, types.BaseMethodFault) {
	id := fmt.Sprintf("_vmx%d", questionsAsked.Add(1))
	text := fmt.Sprintf(movedText, m.displayName())
	info := &types.VirtualMachineQuestionInfo{
		Id: id, Text: text,
		Choice:  types.ChoiceOption{DefaultIndex: 2},
		Message: []types.VirtualMachineMessage{{Id: "msg.uuid.altered", Text: text[len("msg.uuid.altered:"):]}},
	}
	for _, choice := range movedChoices {
		info.Choice.ChoiceInfo = append(info.Choice.ChoiceInfo, &types.ElementDescription{
			Description: types.Description{Label: choice.label, Summary: choice.label}, Key: choice.key,
		})
	}
	q := &question{info: info, answer: make(chan string, 1)}
	m.mu.Lock()
	m.question = q
	m.mu.Unlock()
	m.showPower()
	m.host.post("", &types.VmMessageEvent{VmEvent: m.vmEvent("A question waits at %s on %s"), Message: text})
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
	if !slices.ContainsFunc(movedChoices, func(c struct{ key, label string }) bool { return c.key == req.AnswerChoice }) {
		body.Fault_ = simulator.Fault("There is no such choice", &types.InvalidArgument{InvalidProperty: "answerChoice"})
		return body
	}
	q.settle(req.AnswerChoice)
	body.Res = new(types.AnswerVMResponse)
	return body
}

// cancelQuestion answers a pending question with "Cancel"; false: there was none.
func (m *machine) cancelQuestion() bool {
	m.mu.Lock()
	q := m.question
	m.mu.Unlock()
	if q != nil {
		q.settle(answerCancel)
	}
	return q != nil
}
