/* Loaded into a node before its own libraries: notes how long each file was when it was synced, and makes syncs slow when it is told to.
   From the notes, what a loss of power would leave can be made: files as long as they were at their last sync. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int noted = -2;

static int notes(void) {
  if (noted == -2) {
    const char *path = getenv("CHAOS_SYNC_NOTES");
    noted = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
  }
  return noted;
}

static void delay(void) {
  const char *path = getenv("CHAOS_SYNC_DELAY");
  char text[16] = {0};
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  if (read(file, text, sizeof text - 1) > 0) usleep((useconds_t)atoi(text) * 1000);
  close(file);
}

static int synced(const char *name, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  struct stat before;
  int is_file = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
  delay();
  int result = real(fd);
  if (result == 0 && is_file && notes() >= 0) {
    char line[64];
    int length = snprintf(line, sizeof line, "%llu %lld\n", (unsigned long long)before.st_ino, (long long)before.st_size);
    if (write(notes(), line, length) != length) abort();
  }
  return result;
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }
