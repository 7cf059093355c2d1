package main

import (
	"reflect"
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// hostSettings are settings that change nothing of what this host does: they are shown as they were set, and forgotten at its next start.
type hostSettings struct {
	autostart *autoStartManager
	dateTime  *dateTimeSystem
	services  *serviceSystem
	options   *optionManager

	mu       sync.Mutex
	policies map[string]string // path selection, by the LUN's uuid
}

func (h *host) makeSettings() []mo.Reference {
	managers := h.system.ConfigManager
	s := &h.settings
	s.policies = map[string]string{}
	s.autostart = new(autoStartManager)
	s.autostart.Self = *managers.AutoStartManager
	s.autostart.Config.Defaults = &types.AutoStartDefaults{Enabled: types.NewBool(false), StartDelay: 120, StopDelay: 120, StopAction: "PowerOff"}
	s.dateTime = new(dateTimeSystem)
	s.dateTime.Self = *managers.DateTimeSystem
	s.dateTime.DateTimeInfo = types.HostDateTimeInfo{
		TimeZone: types.HostDateTimeSystemTimeZone{Key: "UTC", Name: "UTC", Description: "UTC"}, NtpConfig: new(types.HostNtpConfig),
	}
	s.services = new(serviceSystem)
	s.services.Self = *managers.ServiceSystem
	s.services.ServiceInfo.Service = []types.HostService{
		{Key: "ntpd", Label: "NTP Daemon", Policy: "off"}, {Key: "TSM-SSH", Label: "SSH", Policy: "off"},
	}
	s.options = &optionManager{h.registry.Get(*managers.AdvancedOption).(*simulator.OptionManager)}
	for key, value := range map[string]types.AnyType{
		"Misc.APDHandlingEnable": int64(1), "Misc.APDTimeout": int64(140), "Syslog.global.logHost": "", "UserVars.SuppressShellWarning": int64(0),
		"ScratchConfig.CurrentScratchLocation": "/vmfs/volumes/local/.locker",
	} {
		s.options.Setting = append(s.options.Setting, &types.OptionValue{Key: key, Value: value})
	}
	return []mo.Reference{s.autostart, s.dateTime, s.services, s.options}
}

type autoStartManager struct{ mo.HostAutoStartManager }

func (m *autoStartManager) ReconfigureAutostart(_ *simulator.Context, req *types.ReconfigureAutostart) soap.HasFault {
	if given := req.Spec.Defaults; given != nil && given.Enabled != nil { // what is unset stays
		m.Config.Defaults.Enabled = given.Enabled
	}
	if req.Spec.PowerInfo != nil {
		m.Config.PowerInfo = req.Spec.PowerInfo
	}
	return &methods.ReconfigureAutostartBody{Res: new(types.ReconfigureAutostartResponse)}
}

type dateTimeSystem struct{ mo.HostDateTimeSystem }

func (s *dateTimeSystem) UpdateDateTimeConfig(_ *simulator.Context, req *types.UpdateDateTimeConfig) soap.HasFault {
	if req.Config.NtpConfig != nil {
		s.DateTimeInfo.NtpConfig = req.Config.NtpConfig
	}
	return &methods.UpdateDateTimeConfigBody{Res: new(types.UpdateDateTimeConfigResponse)}
}

type serviceSystem struct{ mo.HostServiceSystem }

func (s *serviceSystem) change(id string, change func(*types.HostService)) *soap.Fault {
	at := slices.IndexFunc(s.ServiceInfo.Service, func(one types.HostService) bool { return one.Key == id })
	if at < 0 {
		return simulator.Fault("", new(types.NotFound))
	}
	change(&s.ServiceInfo.Service[at])
	return nil
}

func (s *serviceSystem) UpdateServicePolicy(_ *simulator.Context, req *types.UpdateServicePolicy) soap.HasFault {
	fault := s.change(req.Id, func(one *types.HostService) { one.Policy = req.Policy })
	return &methods.UpdateServicePolicyBody{Fault_: fault, Res: new(types.UpdateServicePolicyResponse)}
}

func (s *serviceSystem) StartService(_ *simulator.Context, req *types.StartService) soap.HasFault {
	fault := s.change(req.Id, func(one *types.HostService) { one.Running = true })
	return &methods.StartServiceBody{Fault_: fault, Res: new(types.StartServiceResponse)}
}

func (s *serviceSystem) RestartService(_ *simulator.Context, req *types.RestartService) soap.HasFault {
	fault := s.change(req.Id, func(one *types.HostService) { one.Running = true })
	return &methods.RestartServiceBody{Fault_: fault, Res: new(types.RestartServiceResponse)}
}

// optionManager refuses what an ESXi refuses: options that it does not have, and values of another type.
type optionManager struct{ *simulator.OptionManager }

func (m *optionManager) UpdateOptions(_ *simulator.Context, req *types.UpdateOptions) soap.HasFault {
	for _, change := range req.ChangedValue {
		given := change.GetOptionValue()
		at := slices.IndexFunc(m.Setting, func(one types.BaseOptionValue) bool { return one.GetOptionValue().Key == given.Key })
		if at < 0 {
			return &methods.UpdateOptionsBody{Fault_: simulator.Fault("", &types.InvalidName{Name: given.Key})}
		}
		if reflect.TypeOf(m.Setting[at].GetOptionValue().Value) != reflect.TypeOf(given.Value) {
			return &methods.UpdateOptionsBody{Fault_: simulator.Fault("", &types.InvalidArgument{InvalidProperty: given.Key})}
		}
	}
	return m.OptionManager.UpdateOptions(req)
}

// policy is the path selection of a LUN.
func (h *host) policy(uuid string) string {
	h.settings.mu.Lock()
	defer h.settings.mu.Unlock()
	if policy := h.settings.policies[uuid]; policy != "" {
		return policy
	}
	return "VMW_PSP_FIXED"
}

func (s *storageSystem) SetMultipathLunPolicy(_ *simulator.Context, req *types.SetMultipathLunPolicy) soap.HasFault {
	policy := req.Policy.GetHostMultipathInfoLogicalUnitPolicy().Policy
	known := slices.ContainsFunc(s.StorageDeviceInfo.MultipathInfo.Lun, func(one types.HostMultipathInfoLogicalUnit) bool { return one.Id == req.LunId })
	if !known || !slices.Contains([]string{"VMW_PSP_FIXED", "VMW_PSP_RR", "VMW_PSP_MRU"}, policy) {
		return &methods.SetMultipathLunPolicyBody{Fault_: simulator.Fault("", &types.InvalidArgument{InvalidProperty: "lunId"})}
	}
	s.host.settings.mu.Lock()
	s.host.settings.policies[req.LunId] = policy
	s.host.settings.mu.Unlock()
	s.refresh()
	return &methods.SetMultipathLunPolicyBody{Res: new(types.SetMultipathLunPolicyResponse)}
}
