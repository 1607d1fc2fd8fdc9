package traffic

import (
	"errors"
	"math"
)

// Config says what to make. Equal Configs make equal bytes.
type Config struct {
	Seed      uint64
	Highways  int
	Stations  int // per highway
	Lanes     int // per station; each has a sensor
	Days      int
	FaultRate float64 // chance that a sensor is faulty for a part of a day
}

// Default is the data of `mayfly run`: 36 sensors for a week.
func Default(seed uint64) Config {
	return Config{Seed: seed, Highways: 2, Stations: 6, Lanes: 3, Days: 7, FaultRate: 0.06}
}

// Full is the data by which the detector is judged: 72 sensors for two weeks, 290,304 rows.
func Full(seed uint64) Config {
	return Config{Seed: seed, Highways: 3, Stations: 8, Lanes: 3, Days: 14, FaultRate: 0.06}
}

func (c Config) validate() error {
	switch {
	case c.Highways < 1 || c.Highways > len(highwayNames):
		return errors.New("traffic: highways must be 1 to 6")
	case c.Stations < 1 || c.Stations > 40:
		return errors.New("traffic: stations must be 1 to 40")
	case c.Lanes < 1 || c.Lanes > 8:
		return errors.New("traffic: lanes must be 1 to 8")
	case c.Days < 1 || c.Days > 300:
		return errors.New("traffic: days must be 1 to 300")
	case !(c.FaultRate >= 0 && c.FaultRate <= 1):
		return errors.New("traffic: the fault rate must be 0 to 1")
	}
	return nil
}

// Rows is how many readings the Config makes.
func (c Config) Rows() int { return c.Highways * c.Stations * c.Lanes * c.Days * binsDay }

const firstDay = 60

var highwayNames = [...]int{5, 84, 205, 217, 26, 405}

// Reading is one row: what one sensor reports for five minutes, and what is true of it.
type Reading struct {
	Highway, Station, Sensor int
	Day, Weekday, Minute     int
	Volume                   int // vehicles in five minutes
	Speed                    int // tenths of mph
	Occupancy                int // tenths of a percent
	Label                    Label
}

// Label tells what is the matter with a row; the zero value is that all is well.
type Label string

// Incident is true congestion behind a lost lane: unusual, yet no sensor is at fault. The others are faults.
const (
	Normal       Label = ""
	Congestion   Label = "incident"
	Dead         Label = "dead"       // zeros
	Stuck        Label = "stuck"      // one triple, repeated
	SpeedBias    Label = "speed_bias" // speed × 0.45 or × 1.45
	OccupancyHi  Label = "occ_high"   // occupancy + 20 … 60
	Chatter      Label = "chatter"    // counts × 1.8 … 2.6
	KilometresPH Label = "units_kmh"  // speed in km/h
	Spike        Label = "spike"      // a quarter of an hour of nonsense
)

var faultKinds = [...]Label{Dead, Stuck, SpeedBias, OccupancyHi, Chatter, KilometresPH, Spike}

// IsFault tells a sensor fault from a normal row and from true congestion.
func (l Label) IsFault() bool { return l != Normal && l != Congestion }

// Fault is one sensor's failure.
type Fault struct {
	Sensor  int     `json:"sensorid"`
	Kind    Label   `json:"kind"`
	Day     int     `json:"dayofyear"`
	Start   int     `json:"start"` // minutes of the day
	Minutes int     `json:"minutes"`
	Size    float64 `json:"size,omitempty"` // the factor, or what is added
}

// Data is what was made, in the order of the rows.
type Data struct {
	Config    Config
	Readings  []Reading
	Faults    []Fault
	Incidents []Incident
}

// Generate makes the data.
func Generate(c Config) (*Data, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	d := &Data{Config: c}
	bins := c.Days * binsDay
	sensors := make([][]Reading, 0, c.Highways*c.Stations*c.Lanes) // each sensor's rows in time order
	for h := range c.Highways {
		places := make([]int, c.Stations)
		for s := range places {
			places[s] = cells * (2*s + 1) / (2 * c.Stations)
		}
		demand := demands(c.Seed, h, firstDay, c.Days)
		ins := incidents(c.Seed, h, firstDay, c.Days, 0.45)
		calm, real := simulate(demand, places, nil, firstDay), simulate(demand, places, ins, firstDay)
		for i := range ins {
			ins[i].Highway = highwayNames[h]
		}
		d.Incidents = append(d.Incidents, ins...)
		for s := range c.Stations {
			for lane := range c.Lanes {
				sensor := (h+1)*1000 + (s+1)*10 + lane + 1
				r := stream(c.Seed, 3, uint64(sensor))
				detector := detector{
					share:  1 + float64(0.08*(float64(c.Lanes-1)/2-float64(lane))) + r.between(-0.04, 0.04),
					pace:   1 + float64(0.035*(float64(c.Lanes-1)/2-float64(lane))) + r.between(-0.02, 0.02),
					length: 23 * (1 + r.between(-0.08, 0.08)),
				}
				rows := make([]Reading, bins)
				for b := range bins {
					day := firstDay + b/binsDay
					rows[b] = Reading{Highway: highwayNames[h], Station: (h+1)*100 + s + 1, Sensor: sensor,
						Day: day, Weekday: weekday(day), Minute: b % binsDay * 5}
					detector.look(r, real[b][s], &rows[b])
					if real[b][s].speed < calm[b][s].speed-incidentGap {
						rows[b].Label = Congestion
					}
				}
				d.Faults = append(d.Faults, damage(stream(c.Seed, 4, uint64(sensor)), c, rows)...)
				sensors = append(sensors, rows)
			}
		}
	}
	d.Readings = make([]Reading, 0, c.Rows())
	for b := range bins {
		for _, rows := range sensors {
			d.Readings = append(d.Readings, rows[b])
		}
	}
	return d, nil
}

// detector is one loop in the road: its lane's share of the traffic, its lane's pace, its effective length in feet.
type detector struct{ share, pace, length float64 }

// look writes what the detector reports. Occupancy comes from the vehicles that were counted. No vehicle leaves all
// three at zero: a legitimate row at night, which by itself cannot be told from a dead detector.
func (d detector) look(r *random, f flow, out *Reading) {
	n := r.poisson(f.perHour * d.share / 12)
	speedNoise, lengthNoise := r.normal(), r.normal()
	if n == 0 {
		return
	}
	few := math.Sqrt(float64(n))
	speed := max(2, float64(f.speed*d.pace)+float64(5*speedNoise)/few)
	density := float64(n) * 12 / speed
	occupancy := density * d.length / 5280 * 100 * (1 + float64(0.03*lengthNoise) + float64(0.2*r.normal())/few)
	out.Volume = n
	out.Speed = tenths(speed)
	out.Occupancy = min(1000, max(1, tenths(occupancy)))
}

func tenths(x float64) int { return int(math.Floor(float64(x*10) + 0.5)) }

// damage breaks a sensor on some of its days, at most once a day. A row is labelled when its reading was changed.
func damage(r *random, c Config, rows []Reading) []Fault {
	var out []Fault
	for day := range c.Days {
		if r.float() >= c.FaultRate {
			continue
		}
		kind := faultKinds[r.below(len(faultKinds))]
		length := 24 + r.below(73) // 2 to 8 hours
		if kind == Spike {
			length = 3
		}
		start := r.below(binsDay - length + 1)
		f := Fault{Sensor: rows[0].Sensor, Kind: kind, Day: firstDay + day, Start: start * 5, Minutes: length * 5}
		switch kind {
		case SpeedBias:
			f.Size = 0.45
			if r.below(2) == 1 {
				f.Size = 1.45
			}
		case OccupancyHi:
			f.Size = float64(20 + r.below(41))
		case Chatter:
			f.Size = float64(18+r.below(9)) / 10
		case KilometresPH:
			f.Size = 1.609
		}
		window := rows[day*binsDay+start:][:length]
		frozen := window[0]
		for i := range window {
			was := window[i]
			f.distort(r, &window[i], frozen)
			now := &window[i]
			if was.Volume != now.Volume || was.Speed != now.Speed || was.Occupancy != now.Occupancy {
				now.Label = kind
			}
		}
		out = append(out, f)
	}
	return out
}

func (f Fault) distort(r *random, x *Reading, frozen Reading) {
	times := func(v int, by float64) int { return int(math.Floor(float64(float64(v)*by) + 0.5)) }
	switch f.Kind {
	case Dead:
		x.Volume, x.Speed, x.Occupancy = 0, 0, 0
	case Stuck:
		x.Volume, x.Speed, x.Occupancy = frozen.Volume, frozen.Speed, frozen.Occupancy
	case SpeedBias, KilometresPH:
		x.Speed = times(x.Speed, f.Size)
	case OccupancyHi:
		x.Occupancy = min(1000, x.Occupancy+int(f.Size*10))
	case Chatter:
		x.Volume = times(x.Volume, f.Size)
	case Spike:
		x.Volume = x.Volume*2 + 60 + r.below(120)
		x.Speed = 300 + r.below(1100)
		x.Occupancy = min(1000, 200+r.below(700))
	}
}
