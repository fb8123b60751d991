# ask_python(PYTHON SCRIPT PREFIX FAILURE): runs a script that prints KEY=VALUE lines, and sets PREFIX_KEY
# for each. Where the script fails, what it prints comes behind FAILURE.
function(ask_python python script prefix failure)
  execute_process(
    # Without PYTHONPATH: pip hides the environment behind it while it builds a package.
    COMMAND ${CMAKE_COMMAND} -E env --unset=PYTHONPATH ${python} ${script}
    OUTPUT_VARIABLE answer ERROR_VARIABLE error RESULT_VARIABLE result
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_STRIP_TRAILING_WHITESPACE)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${failure}${error}${answer}")
  endif()
  string(REPLACE "\n" ";" answer "${answer}")
  foreach(pair IN LISTS answer)
    string(REGEX REPLACE "^([^=]+)=(.*)$" "\\1" key "${pair}")
    string(REGEX REPLACE "^([^=]+)=(.*)$" "\\2" value "${pair}")
    set(${prefix}_${key} "${value}" PARENT_SCOPE)
  endforeach()
endfunction()
