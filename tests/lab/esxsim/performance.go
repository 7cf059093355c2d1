package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	sampleEvery = 20 * time.Second // of real-time statistics, on every ESXi
	samplesKept = 180              // an hour
)

// ioSample is what a VM did in the sampleEvery before at.
type ioSample struct {
	at     time.Time
	writes int64
}

// ioHistory is a VM's statistics since it was powered on.
type ioHistory struct {
	of      *execution
	counted int64
	samples []ioSample
}

// keepSamples takes a sample of every running VM at each full 20 seconds.
func (h *host) keepSamples(ctx context.Context) {
	for {
		next := time.Now().Truncate(sampleEvery).Add(sampleEvery)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
			h.sample(next)
		}
	}
}

func (h *host) sample(at time.Time) {
	for _, m := range h.machines() {
		m.mu.Lock()
		if running := m.exec; running == nil {
			m.io = ioHistory{}
		} else {
			done := running.guest.writes.Load()
			if m.io.of != running { // since it started there was no whole interval
				m.io = ioHistory{of: running}
			} else if m.io.samples = append(m.io.samples, ioSample{at, done - m.io.counted}); len(m.io.samples) > samplesKept {
				m.io.samples = m.io.samples[1:]
			}
			m.io.counted = done
		}
		m.mu.Unlock()
	}
}

// performanceManager answers for VMs out of what their guests really did. Its counters are the simulator's, taken from an ESXi.
type performanceManager struct {
	*simulator.PerformanceManager
	host *host
}

// QueryPerf knows the real-time statistics of running VMs (intervalId 20, the newest maxSample of them; no times).
func (p *performanceManager) QueryPerf(_ *simulator.Context, req *types.QueryPerf) soap.HasFault {
	body := &methods.QueryPerfBody{Res: new(types.QueryPerfResponse)}
	for _, spec := range req.QuerySpec {
		m := p.host.machine(spec.Entity)
		if m == nil {
			fault := &types.ManagedObjectNotFound{Obj: spec.Entity}
			return &methods.QueryPerfBody{Fault_: simulator.Fault("The object has already been deleted or has not been completely created", fault)}
		}
		if spec.IntervalId != int32(sampleEvery/time.Second) {
			fault := &types.InvalidArgument{InvalidProperty: "querySpec.intervalId"}
			return &methods.QueryPerfBody{Fault_: simulator.Fault("A specified parameter was not correct: querySpec.interval", fault)}
		}
		m.mu.Lock()
		samples := append([]ioSample(nil), m.io.samples...)
		m.mu.Unlock()
		if keep := int(spec.MaxSample); keep > 0 && len(samples) > keep {
			samples = samples[len(samples)-keep:]
		}
		if len(samples) > 0 { // as on ESXi, an object without statistics is left out
			body.Res.Returnval = append(body.Res.Returnval, p.metric(m, spec, samples))
		}
	}
	return body
}

func (p *performanceManager) metric(m *machine, spec types.PerfQuerySpec, samples []ioSample) types.BasePerfEntityMetricBase {
	base := types.PerfEntityMetricBase{Entity: spec.Entity}
	var info []types.PerfSampleInfo
	var infoCSV []string
	for _, s := range samples {
		info = append(info, types.PerfSampleInfo{Timestamp: s.at.UTC(), Interval: spec.IntervalId})
		infoCSV = append(infoCSV, strconv.Itoa(int(spec.IntervalId)), s.at.UTC().Format(time.RFC3339))
	}
	plain := &types.PerfEntityMetric{PerfEntityMetricBase: base, SampleInfo: info}
	table := &types.PerfEntityMetricCSV{PerfEntityMetricBase: base, SampleInfoCSV: strings.Join(infoCSV, ",")}
	for _, wanted := range spec.MetricId {
		for _, series := range m.seriesOf(p.counterName(wanted.CounterId), samples) {
			if wanted.Instance != "*" && wanted.Instance != series.instance {
				continue
			}
			id := types.PerfMetricId{CounterId: wanted.CounterId, Instance: series.instance}
			plain.Value = append(plain.Value, &types.PerfMetricIntSeries{PerfMetricSeries: types.PerfMetricSeries{Id: id}, Value: series.values})
			table.Value = append(table.Value, types.PerfMetricSeriesCSV{PerfMetricSeries: types.PerfMetricSeries{Id: id}, Value: series.csv()})
		}
	}
	if spec.Format == string(types.PerfFormatCsv) {
		return table
	}
	return plain
}

// counterName is the counter's name, such as disk.numberWrite.summation.
func (p *performanceManager) counterName(key int32) string {
	for _, info := range p.PerfCounter {
		if info.Key == key {
			return info.GroupInfo.GetElementDescription().Key + "." + info.NameInfo.GetElementDescription().Key + "." + string(info.RollupType)
		}
	}
	return ""
}

type ioSeries struct {
	instance string
	values   []int64
}

func (s ioSeries) csv() string {
	words := make([]string, len(s.values))
	for number, value := range s.values {
		words[number] = strconv.FormatInt(value, 10)
	}
	return strings.Join(words, ",")
}

// seriesOf are the values of a counter, one series for each of its instances. The guests of this host only write: they read
// nothing after their start, and have no network traffic.
func (m *machine) seriesOf(counter string, samples []ioSample) []ioSeries {
	writes, rates, none := make([]int64, len(samples)), make([]int64, len(samples)), make([]int64, len(samples))
	for number, s := range samples {
		writes[number], rates[number] = s.writes, s.writes/int64(sampleEvery/time.Second)
	}
	switch counter {
	case "disk.numberRead.summation":
		return []ioSeries{{m.volume.diskName(), none}}
	case "disk.numberWrite.summation", "disk.commands.summation":
		return []ioSeries{{m.volume.diskName(), writes}}
	case "datastore.numberReadAveraged.average":
		return []ioSeries{{m.volume.UUID, none}}
	case "datastore.numberWriteAveraged.average":
		return []ioSeries{{m.volume.UUID, rates}}
	case "virtualDisk.numberReadAveraged.average":
		return []ioSeries{{"scsi0:0", none}}
	case "virtualDisk.numberWriteAveraged.average":
		return []ioSeries{{"scsi0:0", rates}}
	case "net.packetsTx.summation", "net.packetsRx.summation":
		return []ioSeries{{"4000", none}, {"", none}}
	}
	return nil
}

// machine is the registered VM with this reference, or nil.
func (h *host) machine(reference types.ManagedObjectReference) *machine {
	id, err := strconv.Atoi(reference.Value)
	if err != nil || reference.Type != "VirtualMachine" {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.vms[id]
}
