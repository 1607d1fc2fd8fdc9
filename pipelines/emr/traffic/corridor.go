package traffic

// The corridor of one highway: a cell-transmission model, per lane, in miles, hours and vehicles.
const (
	cells       = 50
	cellLength  = 0.2         // mi
	secondsStep = 10          // s
	hoursStep   = 10.0 / 3600 // h
	stepsBin    = 30          // steps of one five-minute record
	binsDay     = 288         // records of a day
	freeSpeed   = 62.0        // mph
	capacity    = 2050.0      // veh/h/lane
	jamDensity  = 190.0       // veh/mi/lane
	critical    = 33.1        // veh/mi/lane
	waveSpeed   = capacity / (jamDensity - critical)
	bottleneck  = cells * 7 / 10
	narrowing   = 0.90 // of the capacity at the bottleneck
	incidentGap = 12.0 // mph below the undisturbed corridor: then a row is labelled
)

// Incident takes capacity away from one cell for a while.
type Incident struct {
	Highway   int     `json:"highway"`
	Cell      int     `json:"cell"`
	Day       int     `json:"dayofyear"`
	Start     int     `json:"start"`   // minutes of the day
	Minutes   int     `json:"minutes"` // how long it lasts
	Remaining float64 `json:"capacity"`
}

// traffic is what passes one place in one five-minute interval, averaged over its lanes.
type flow struct{ perHour, density, speed float64 }

// simulate runs the corridor for all days and returns [bin][place]flow for the places given as cells.
func simulate(demand []float64, places []int, incidents []Incident, firstDay int) [][]flow {
	var density, out [cells]float64
	var limit [cells]float64
	queue := 0.0
	result := make([][]flow, len(demand))
	for bin := range demand {
		for c := range limit {
			limit[c] = capacity
		}
		limit[bottleneck] = capacity * narrowing
		day, minute := firstDay+bin/binsDay, bin%binsDay*5
		for _, in := range incidents {
			since := (day-in.Day)*1440 + minute - in.Start
			if since >= 0 && since < in.Minutes {
				limit[in.Cell] = min(limit[in.Cell], capacity*in.Remaining)
			}
		}
		row := make([]flow, len(places))
		for range stepsBin {
			queue += float64(demand[bin] * hoursStep)
			enter := min(queue/hoursStep, supply(density[0], limit[0]))
			queue -= float64(enter * hoursStep)
			for c := range cells {
				out[c] = min(float64(freeSpeed*density[c]), limit[c])
				if c+1 < cells {
					out[c] = min(out[c], supply(density[c+1], limit[c+1]))
				}
			}
			for i, p := range places {
				row[i].perHour += out[p]
				row[i].density += density[p]
			}
			for c := range cells {
				into := enter
				if c > 0 {
					into = out[c-1]
				}
				density[c] += float64((into - out[c]) * (hoursStep / cellLength))
			}
		}
		for i := range row {
			row[i].perHour /= stepsBin
			row[i].density /= stepsBin
			row[i].speed = freeSpeed
			if row[i].density > 0.01 {
				row[i].speed = min(freeSpeed, row[i].perHour/row[i].density)
			}
		}
		result[bin] = row
	}
	return result
}

// supply is the flow that a cell can take in.
func supply(density, limit float64) float64 {
	return min(limit, float64(waveSpeed*(jamDensity-density)))
}

// demands is the wish to enter the highway, in veh/h/lane, for every five minutes of the days.
func demands(seed uint64, highway, firstDay, days int) []float64 {
	r := stream(seed, 1, uint64(highway))
	out := make([]float64, 0, days*binsDay)
	noise := 0.0
	for d := range days {
		factor := exp(0.06 * r.normal())
		weekend := weekday(firstDay+d) == 0 || weekday(firstDay+d) == 6
		morning, evening := 1640.0, 1250.0
		if highway%2 == 1 {
			morning, evening = evening, morning
		}
		for b := range binsDay {
			m := float64(b * 5)
			noise = float64(0.8*noise) + float64(0.024*r.normal())
			var level float64
			if weekend {
				level = 45 + float64(1100*bump(m, 830, 190)) + float64(220*bump(m, 1250, 120))
			} else {
				level = 40 + float64(morning*bump(m, 455, 72)) + float64(evening*bump(m, 1035, 88)) +
					float64(900*bump(m, 750, 200)) + float64(180*bump(m, 1290, 90))
			}
			out = append(out, max(0, level*factor*(1+noise)))
		}
	}
	return out
}

// weekday is 0 for Sunday. The year is one in which day 4 is the first Sunday.
func weekday(dayOfYear int) int { return (dayOfYear + 3) % 7 }

// incidents of one highway.
func incidents(seed uint64, highway, firstDay, days int, perDay float64) []Incident {
	r := stream(seed, 2, uint64(highway))
	var out []Incident
	for d := range days {
		if r.float() >= perDay {
			continue
		}
		out = append(out, Incident{
			Highway: highway, Cell: 8 + r.below(cells-12), Day: firstDay + d,
			Start: 360 + r.below(168)*5, Minutes: 25 + r.below(12)*5, Remaining: r.between(0.15, 0.5),
		})
	}
	return out
}
