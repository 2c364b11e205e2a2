ffprobe -v error -show_entries format=duration,size:stream=codec_name,width,height "$1"
