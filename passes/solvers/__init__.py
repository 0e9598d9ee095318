"""The arithmetic behind the methods: functions of arrays that know neither sites nor options."""
