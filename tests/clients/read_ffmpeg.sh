ffmpeg -v error -ss 40 -i "$1" -frames:v 1 -f rawvideo -
