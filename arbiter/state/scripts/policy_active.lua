-- ARGV grace of switches. Gives what is in force, after what is due by now.
settle(tonumber(ARGV[1]))
return view()
