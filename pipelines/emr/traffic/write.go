package traffic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// The files of a data set. Names with a leading underscore are skipped by whatever reads the folder through Hadoop.
const (
	InputFile  = "part-00000.csv"
	TruthFile  = "_truth.csv"
	EventsFile = "_events.json"
)

// CSV is the programs' input: highway, station, sensor, day of the year, day of the week (0 is Sunday), minute,
// volume, speed, occupancy; no header.
func (d *Data) CSV() []byte {
	out := make([]byte, 0, 40*len(d.Readings))
	for i := range d.Readings {
		r := &d.Readings[i]
		for _, v := range [...]int{r.Highway, r.Station, r.Sensor, r.Day, r.Weekday, r.Minute, r.Volume} {
			out = append(strconv.AppendInt(out, int64(v), 10), ',')
		}
		out = append(appendTenths(out, r.Speed), ',')
		out = append(appendTenths(out, r.Occupancy), '\n')
	}
	return out
}

func appendTenths(out []byte, v int) []byte {
	return append(strconv.AppendInt(out, int64(v/10), 10), '.', byte('0'+v%10))
}

// Truth is the label of every row that has one: row (from 0), sensor, day of the year, minute, label.
func (d *Data) Truth() []byte {
	var b bytes.Buffer
	b.WriteString("row,sensorid,dayofyear,time,label\n")
	for i := range d.Readings {
		if r := &d.Readings[i]; r.Label != Normal {
			fmt.Fprintf(&b, "%d,%d,%d,%d,%s\n", i, r.Sensor, r.Day, r.Minute, r.Label)
		}
	}
	return b.Bytes()
}

// Events tells the incidents and the faults that were put into the data.
func (d *Data) Events() []byte {
	b, err := json.MarshalIndent(map[string]any{"seed": d.Config.Seed, "rows": len(d.Readings), "incidents": d.Incidents, "faults": d.Faults}, "", " ")
	if err != nil {
		panic(err) // numbers and strings alone
	}
	return append(b, '\n')
}

// Files are all files by name.
func (d *Data) Files() map[string][]byte {
	return map[string][]byte{InputFile: d.CSV(), TruthFile: d.Truth(), EventsFile: d.Events()}
}

// Write puts the files into a folder, which it makes.
func (d *Data) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, body := range d.Files() {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o644); err != nil {
			return err
		}
	}
	return nil
}
